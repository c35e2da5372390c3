"""What tests share: packages at tiny sizes, desks, published figures. tests/README.md lists it."""
