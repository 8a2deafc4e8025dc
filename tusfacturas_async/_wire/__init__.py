"""What bytes mean: pure, without I/O. The vendor's quirks live here and nowhere else."""
