{% include cookiecutter.kind ~ '/settings.py' %}
