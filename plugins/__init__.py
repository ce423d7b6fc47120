"""The architectures that ship with realizar, one family a file; they enter by the entry-point group `realizar`."""
