"""The paper's networks as plain modules, and a registry from names to builders."""
