"""Everything that is signed or sent: messages, networks, signing roots, formats. Pure."""
