"""Many vouchers: what need not be sent, and the sending of the rest."""
