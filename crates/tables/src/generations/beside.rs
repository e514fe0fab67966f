//! The tables beside the live ones: columns, checks, storage, indexes and rights are those of the
//! live ones, under the same names.

use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::{Beside, Error, Generations, quoted, schema};
use crate::{checkpoints::BESIDE, postgres::SCHEMA};

/// Makes empty tables beside `tables`, with the primary keys alone, so that filling them costs
/// little; [`index`] makes the rest. In one transaction.
pub async fn make(
    connection: &mut PgConnection,
    projection: &str,
    tables: &[&str],
) -> Result<(), Error> {
    let beside = schema(projection)?;
    for table in tables {
        check(connection, projection, table).await?;
    }
    execute(connection, format!("CREATE SCHEMA {beside}")).await?;
    for table in tables {
        let name = quoted(table);
        let create = format!(
            "CREATE TABLE {beside}.{name} \
             (LIKE {SCHEMA}.{name} INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)"
        );
        execute(connection, create).await?;
        for statement in rights_and_storage(connection, &beside, table).await? {
            execute(connection, statement).await?;
        }
        make_indexes(connection, &beside, table, true).await?;
    }
    sqlx::query!(
        "INSERT INTO generations (projection, beside) VALUES ($1, 'next')
         ON CONFLICT (projection) DO UPDATE SET beside = 'next', changed_at = now()",
        projection,
    )
    .execute(&mut *connection)
    .await?;
    forget(connection, projection).await?;
    Ok(())
}

/// Makes the indexes that the tables beside `tables` lack. In one transaction.
pub async fn index(
    connection: &mut PgConnection,
    projection: &str,
    tables: &[&str],
) -> Result<(), Error> {
    let beside = schema(projection)?;
    for table in tables {
        make_indexes(connection, &beside, table, false).await?;
    }
    Ok(())
}

/// So that the first readers after a switch get good plans.
pub async fn analyze(
    connection: &mut PgConnection,
    projection: &str,
    tables: &[&str],
) -> Result<(), Error> {
    let beside = schema(projection)?;
    for table in tables {
        execute(connection, format!("ANALYZE {beside}.{}", quoted(table))).await?;
    }
    Ok(())
}

/// Statements of this transaction find the tables beside the live ones, and all others where they
/// are; its commits wait for no disk, because rows and checkpoints fall back together.
pub fn begin(projection: &str) -> Result<String, Error> {
    let beside = schema(projection)?;
    Ok(format!(
        "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL search_path = {beside}, {SCHEMA}"
    ))
}

/// Whether the rows of a live table say of which partition they are.
pub async fn has_partitions(
    connection: &mut PgConnection,
    table: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pg_attribute
                          WHERE attrelid = to_regclass($1) AND attname = 'partition'
                            AND atttypid = 'integer'::regtype AND NOT attisdropped) AS "has!""#,
        format!("{SCHEMA}.{}", quoted(table)),
    )
    .fetch_one(connection)
    .await
}

/// Puts the rows of one partition that lie beside a live table into it, in place of those that
/// differ; how many that were. In a transaction that no projector of the partition moves in.
pub async fn replace(
    connection: &mut PgConnection,
    projection: &str,
    table: &str,
    partition: u32,
) -> Result<u64, Error> {
    let (beside, name) = (schema(projection)?, quoted(table));
    let columns = sqlx::query_scalar!(
        r#"SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS "columns!"
           FROM pg_attribute
           WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
             AND attgenerated = ''"#,
        format!("{SCHEMA}.{name}"),
    )
    .fetch_one(&mut *connection)
    .await?;
    // Hashed: the rows of a partition are gone through once on each side.
    let differs = |other: &str| {
        format!(
            "one.partition = $1 AND to_jsonb(one)::text NOT IN \
             (SELECT to_jsonb(other)::text FROM {other} AS other WHERE other.partition = $1)"
        )
    };
    let (live, anew) = (format!("{SCHEMA}.{name}"), format!("{beside}.{name}"));
    let mut rows = 0;
    for statement in [
        format!("DELETE FROM {live} AS one WHERE {}", differs(&anew)),
        format!(
            "INSERT INTO {live} ({columns}) SELECT {columns} FROM {anew} AS one WHERE {}",
            differs(&live)
        ),
    ] {
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        let done = sqlx::query(AssertSqlSafe(statement)).bind(number).execute(&mut *connection);
        rows = rows.max(done.await?.rows_affected());
    }
    Ok(rows)
}

/// Drops the tables beside the live ones, their checkpoints, and what is parked there. In one
/// transaction.
pub async fn drop(connection: &mut PgConnection, projection: &str) -> Result<(), Error> {
    execute(connection, format!("DROP SCHEMA IF EXISTS {} CASCADE", schema(projection)?)).await?;
    forget(connection, projection).await?;
    sqlx::query!("UPDATE generations SET beside = NULL WHERE projection = $1", projection)
        .execute(connection)
        .await?;
    Ok(())
}

async fn forget(connection: &mut PgConnection, projection: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM parked_aggregates WHERE projection = $1 AND generation = $2",
        projection,
        BESIDE,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM checkpoints WHERE projection = $1 AND generation = $2",
        projection,
        BESIDE,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Refuses a table that is more than columns, checks and indexes.
async fn check(connection: &mut PgConnection, projection: &str, table: &str) -> Result<(), Error> {
    let found = sqlx::query!(
        r#"SELECT c.relkind = 'r' AS "plain!", c.relpersistence = 'p' AS "kept!",
                  c.relrowsecurity AS "policies!",
                  EXISTS (SELECT FROM pg_constraint k
                          WHERE k.contype = 'f' AND c.oid IN (k.conrelid, k.confrelid)) AS "keys!",
                  EXISTS (SELECT FROM pg_trigger t
                          WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) AS "triggers!",
                  EXISTS (SELECT FROM pg_inherits i
                          WHERE c.oid IN (i.inhrelid, i.inhparent)) AS "heirs!",
                  EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_rewrite'::regclass
                            AND d.refclassid = 'pg_class'::regclass
                            AND d.refobjid = c.oid) AS "views!",
                  EXISTS (SELECT FROM pg_publication_rel p WHERE p.prrelid = c.oid) AS "published!",
                  EXISTS (SELECT FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
                          WHERE d.classid = 'pg_class'::regclass
                            AND d.refclassid = 'pg_class'::regclass
                            AND d.refobjid = c.oid AND s.relkind = 'S') AS "numbers!",
                  EXISTS (SELECT FROM pg_attribute a
                          WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL) AS "rights!"
           FROM pg_class c
           WHERE c.relnamespace = to_regnamespace($1) AND c.relname::text = $2"#,
        SCHEMA,
        table,
    )
    .fetch_optional(connection)
    .await?;
    let Some(found) = found else {
        return Err(Error::NoTable { projection: projection.to_owned(), table: table.to_owned() });
    };
    let wrong = [
        (!found.plain || found.heirs, "partitions or heirs, or is no table"),
        (!found.kept, "no log of its own (it is UNLOGGED)"),
        (found.policies, "row level security"),
        (found.keys, "a foreign key, or is named by one"),
        (found.triggers, "a trigger"),
        (found.views, "a view or a rule"),
        (found.published, "a publication"),
        (found.numbers, "a sequence"),
        (found.rights, "rights on single columns"),
    ];
    match wrong.into_iter().find(|(is_so, _)| *is_so) {
        Some((_, what)) => Err(Error::Unfit { table: table.to_owned(), what }),
        None => Ok(()),
    }
}

/// What `LIKE` does not copy.
async fn rights_and_storage(
    connection: &mut PgConnection,
    beside: &str,
    table: &str,
) -> Result<Vec<String>, Error> {
    let rows = sqlx::query_scalar!(
        r#"SELECT format('ALTER TABLE %s.%I SET (%s)', $3::text, c.relname,
                         array_to_string(c.reloptions, ', ')) AS "statement!"
           FROM pg_class c
           WHERE c.relnamespace = to_regnamespace($1) AND c.relname::text = $2
             AND c.reloptions IS NOT NULL
           UNION ALL
           SELECT format('GRANT %s ON %s.%I TO %s%s', a.privilege_type, $3::text, c.relname,
                         CASE a.grantee WHEN 0 THEN 'PUBLIC'
                                        ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                         CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
           FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
           WHERE c.relnamespace = to_regnamespace($1) AND c.relname::text = $2
             AND a.grantee <> c.relowner"#,
        SCHEMA,
        table,
        beside,
    );
    Ok(rows.fetch_all(connection).await?)
}

/// As the live table has them, under the same names: by their own definitions, which name the table
/// with its schema.
async fn make_indexes(
    connection: &mut PgConnection,
    beside: &str,
    table: &str,
    only_primary: bool,
) -> Result<(), Error> {
    let statements = sqlx::query_scalar!(
        r#"SELECT CASE WHEN k.oid IS NULL
                       THEN replace(pg_get_indexdef(i.indexrelid),
                                    format(' ON %I.%I USING ', $1::text, c.relname),
                                    format(' ON %s.%I USING ', $3::text, c.relname))
                       ELSE format('ALTER TABLE %s.%I ADD CONSTRAINT %I %s', $3::text, c.relname,
                                   k.conname, pg_get_constraintdef(k.oid)) END AS "statement!"
           FROM pg_index i
           JOIN pg_class c ON c.oid = i.indrelid
           JOIN pg_class x ON x.oid = i.indexrelid
           LEFT JOIN pg_constraint k
             ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid
            AND k.contype IN ('p', 'u', 'x')
           WHERE c.relnamespace = to_regnamespace($1) AND c.relname::text = $2 AND i.indisvalid
             AND (i.indisprimary OR NOT $4)
             AND to_regclass(format('%s.%I', $3::text, x.relname)) IS NULL
           ORDER BY i.indisprimary DESC, x.relname"#,
        SCHEMA,
        table,
        beside,
        only_primary,
    )
    .fetch_all(&mut *connection)
    .await?;
    for statement in statements {
        execute(connection, statement).await?;
    }
    Ok(())
}

/// Refuses tables whose columns are not those of the live ones any more, and such as lack an index.
pub(super) async fn check_form(
    connection: &mut PgConnection,
    projection: &str,
    tables: &[&str],
) -> Result<(), Error> {
    let beside = schema(projection)?;
    for table in tables {
        let same = sqlx::query_scalar!(
            r#"WITH forms AS (
                   SELECT n.number, coalesce(string_agg(concat_ws(' ', a.attname,
                              format_type(a.atttypid, a.atttypmod), a.attcollation, a.attnotnull,
                              a.attgenerated, pg_get_expr(d.adbin, d.adrelid)), ', '
                              ORDER BY a.attname), '')
                          || coalesce((SELECT string_agg(x.relname, ', ' ORDER BY x.relname)
                                       FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                                       WHERE i.indrelid = n.id AND i.indisvalid), '') AS form
                   FROM (VALUES (1, to_regclass($1)), (2, to_regclass($2))) AS n(number, id)
                   LEFT JOIN pg_attribute a
                     ON a.attrelid = n.id AND a.attnum > 0 AND NOT a.attisdropped
                   LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                   GROUP BY n.number, n.id
               )
               SELECT count(DISTINCT form) = 1 AND min(form) <> '' AS "same!" FROM forms"#,
            format!("{SCHEMA}.{}", quoted(table)),
            format!("{beside}.{}", quoted(table)),
        )
        .fetch_one(&mut *connection)
        .await?;
        if !same {
            return Err(Error::Changed((*table).to_owned()));
        }
    }
    Ok(())
}

/// Refuses where something else lies beside the live tables than what is wanted.
pub async fn is_there(
    connection: &mut PgConnection,
    projection: &str,
    wanted: Beside,
) -> Result<Generations, Error> {
    let generations = super::of(connection, projection).await?;
    if generations.beside == Some(wanted) {
        return Ok(generations);
    }
    Err(Error::None(match wanted {
        Beside::Next => "next",
        Beside::Previous => "previous",
    }))
}

pub(super) async fn execute(
    connection: &mut PgConnection,
    statement: String,
) -> Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}
