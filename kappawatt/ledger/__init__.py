"""The energy accounting: samples become cells, cells become rows. Pure: no clock, file, network or engine."""
