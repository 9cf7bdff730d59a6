{% include cookiecutter.kind ~ '/test_conformance.py' %}
