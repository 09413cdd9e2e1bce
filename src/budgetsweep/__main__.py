"""`python -m budgetsweep`: what `budgetsweep` is where no script is installed."""

from budgetsweep.commands import main

if __name__ == "__main__":
    main()
