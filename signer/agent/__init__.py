"""The daemon on a local unix socket: one holder, one device, one share."""
