"""One voucher, told truthfully: its turn, its attempts, and the lookup that settles a lost answer."""
