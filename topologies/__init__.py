"""Example topologies: each folder is one app with its models, feature repository and README."""
