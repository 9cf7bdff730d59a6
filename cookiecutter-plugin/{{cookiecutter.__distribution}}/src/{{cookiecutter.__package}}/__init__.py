{% include cookiecutter.kind ~ '/__init__.py' %}
