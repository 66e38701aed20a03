-- What people do meanwhile: new tickets come, and young ones are changed.
\set id random(150001, 250000)
insert into tickets (state, customer, body) values ('open', 1, 'of the load');
update tickets set customer = 1 + customer % 6 where id = :id and body <> 'of the load';
