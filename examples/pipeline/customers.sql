create table customers (
    revision number(9) primary key,
    id number(9) not null,
    name varchar2(40) not null,
    email varchar2(80),
    country varchar2(2)
)
