"""`python -m signer` is the `signer` command."""

from signer.cli.main import main

if __name__ == "__main__":
    main()
