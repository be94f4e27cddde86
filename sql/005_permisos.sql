-- 005: who may run what. Postgres lets everybody execute a new function, and these two act with the rights of their owner:
-- whoever could enter the schema could drop the audit's months.
--
-- Whoever may write rows keeps making partitions, and whoever may delete rows keeps purging. crear-base closes again, at
-- every run, whatever function of this schema is open, and grants the roles of before what a later version adds.

INSERT INTO {{schema}}.migracion (version, nombre) VALUES (5, '005_permisos');

REVOKE ALL ON FUNCTION {{schema}}.crear_particiones(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION {{schema}}.purgar_particion(text, text, timestamptz) FROM PUBLIC;

DO $permisos$
DECLARE
  permiso record;
BEGIN
  FOR permiso IN
    SELECT DISTINCT pg_get_userbyid(a.grantee) AS rol,
           CASE a.privilege_type WHEN 'INSERT' THEN 'crear_particiones(integer)'
                                 ELSE 'purgar_particion(text, text, timestamptz)' END AS funcion
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS a
     WHERE n.nspname = {{schema_literal}} AND c.relname = 'mensaje'
       AND a.privilege_type IN ('INSERT', 'DELETE') AND a.grantee <> 0
    UNION
    -- The schema's owner, where somebody else made the functions.
    SELECT pg_get_userbyid(n.nspowner), f
      FROM pg_namespace n,
           unnest(ARRAY['crear_particiones(integer)', 'purgar_particion(text, text, timestamptz)']) AS f
     WHERE n.nspname = {{schema_literal}}
  LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %I.%s TO %I', {{schema_literal}}, permiso.funcion, permiso.rol);
  END LOOP;
END
$permisos$;
