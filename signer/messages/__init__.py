"""Everything that is signed or sent: typed messages, networks, signing roots, wire formats. Pure."""
