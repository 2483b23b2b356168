"""One holder's desk: envelope and journal on disk, and the worker process that unseals."""
