"""`python -m training train ...` is `latentserve train ...`, in the form that `torchrun` starts."""

from service.cli import main

main()
