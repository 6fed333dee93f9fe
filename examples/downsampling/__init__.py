"""Downsampling of power-meter readings by tumbling windows: UC2 of the Theodolite benchmark, exact.

Henning and Hasselbring, "Theodolite: Scalability Benchmarking of Distributed Stream Processing Engines in Microservice
Architectures" (Big Data Research 25, 2021), use case UC2.
"""
