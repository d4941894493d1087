"""`python -m tianti` is `tianti`."""

from tianti.cli.main import run_cli

if __name__ == "__main__":
    run_cli()
