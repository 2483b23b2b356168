"""What happens in a worker process and nowhere else: PINs, shares and the PKCS#11 module.

`python -I -m signer.custody.worker` reads one order from standard input, writes one result to
standard output and ends.
"""

import gc

gc.disable()  # a process of 100 ms leaves its garbage to its end; imports are a tenth faster so
