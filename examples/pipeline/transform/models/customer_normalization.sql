-- A file of JSON lines, and a view of it.
{{ config(materialized="external", location="../customer_normalization.jsonl", format="json") }}

select
    revision,
    id,
    nullif(trim(regexp_replace(name, '\s+', ' ', 'g')), '') as name,
    lower(trim(email)) as email,
    upper(trim(country)) as country
from {{ source("raw", "customers") }}
order by revision
