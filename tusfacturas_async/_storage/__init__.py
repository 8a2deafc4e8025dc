"""SQLite files that survive a crash: one owner who writes, any number of readers. They know no vouchers."""
