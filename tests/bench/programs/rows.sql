-- SQLite: B-trees, sorting, joins, transactions; N is replaced.
create table t(id integer primary key, k int, v text);
begin;
with recursive c(i) as (select 1 union all select i + 1 from c where i < N)
insert into t select i, i * 7919 % 10007, printf('row %d of %x', i, i * i) from c;
commit;
create index tk on t(k);
select count(*), sum(length(v)), max(k) from t where k between 100 and 5000;
select a.k, count(*) from t a join t b on a.k = b.k where a.id % 97 = 3 group by a.k order by 2 desc, 1 limit 3;
update t set v = upper(v) where id % 3 = 0;
delete from t where k % 5 = 1;
select count(*), substr(group_concat(substr(v, 5, 1), ''), 1, 20) from t;
