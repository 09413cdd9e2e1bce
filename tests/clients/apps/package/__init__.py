"""An application that is a package."""
