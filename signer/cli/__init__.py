"""Commands: parse, wire, call one function, print."""
