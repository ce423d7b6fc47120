"""The architectures that ship with realizar, one family per file, loaded through the entry-point group `realizar`."""
