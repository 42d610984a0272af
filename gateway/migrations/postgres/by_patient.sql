-- Spreads the tables of the PostgreSQL store over partitions by patient (declarative hash partitioning). No migration: an
-- operator runs it once, with no gateway serving, on a database whose tables a gateway has made; the store's contract
-- is kept on a database spread like this. docs/operations.md says when it is worth it.
--
-- A unique index of a partitioned table holds the patient too. That no two rows have one id, and no two versions one
-- number, is then kept by the writers, which take turns and look before they insert.
DO $$
DECLARE
    spread    CONSTANT TEXT[] := ARRAY['resource', 'body', 'version', 'grant_arm', 'care_relation', 'audit_patient'];
    pieces    CONSTANT INTEGER := 16;
    whole     TEXT;
    counting  TEXT;
    made      RECORD;
    keys      TEXT[];
BEGIN
    FOR whole IN
        SELECT relname FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
          AND (relname = ANY (spread) OR relname LIKE 'index\_%')
        ORDER BY relname
    LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', whole, whole || '_whole');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING GENERATED) PARTITION BY HASH (patient)',
                       whole, whole || '_whole');
        FOR piece IN 0 .. pieces - 1 LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
                           whole || '_p' || piece, whole, pieces, piece);
        END LOOP;
        EXECUTE format('INSERT INTO %I SELECT * FROM %I', whole, whole || '_whole');
        -- A column that counts by itself goes on counting, from a sequence of its own.
        IF whole = 'resource' THEN
            CREATE SEQUENCE resource_number OWNED BY resource.key;
            PERFORM setval('resource_number', coalesce(max(key), 0) + 1, false) FROM resource;
            ALTER TABLE resource ALTER COLUMN key SET DEFAULT nextval('resource_number');
        END IF;
        -- The same indexes; a unique one with the patient at its end.
        FOR made IN
            SELECT c.relname AS name, i.indisunique AS one, pg_get_indexdef(c.oid) AS definition,
                   (SELECT string_agg(pg_get_indexdef(c.oid, place, true), ', ' ORDER BY place)
                    FROM generate_series(1, i.indnkeyatts) place) AS columns,
                   pg_get_expr(i.indpred, i.indrelid) AS condition
            FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = (quote_ident(whole || '_whole'))::regclass
        LOOP
            keys := string_to_array(made.columns, ', ');
            IF made.one AND NOT 'patient' = ANY (keys) THEN
                keys := keys || 'patient'::TEXT;
            END IF;
            EXECUTE format('ALTER INDEX %I RENAME TO %I', made.name, made.name || '_whole');
            IF made.one THEN
                EXECUTE format('CREATE UNIQUE INDEX %I ON %I (%s)', made.name, whole, array_to_string(keys, ', '));
            ELSE
                counting := replace(made.definition, '_whole USING', ' USING');
                EXECUTE counting;
            END IF;
        END LOOP;
        EXECUTE format('DROP TABLE %I', whole || '_whole');
    END LOOP;
END
$$;
