-- 013: entrega stays small.
--
-- A delivery that takes longer than a moment is written twice, and its first row version is dead from then on. By default a fifth of
-- the table may be dead before it is used again: with every row written twice heap and indexes were 11 % larger than with 2 %.
-- What purgar deletes is used again in the same way.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (13, '013_vacuum');

ALTER TABLE {{schema}}.entrega SET (
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.05);
