// Sessions in PostgreSQL, as Better Auth keeps them without a secondary storage: a `pg` pool of its default size, Better
// Auth's Kysely adapter, tables by Better Auth's own migrations.

import { getMigrations } from "better-auth/db/migration";
import pg from "pg";
import { openBetterAuth } from "../better-auth.js";
import { users } from "../records.js";

export async function open({ postgres }) {
	const pool = new pg.Pool({ connectionString: postgres.url });
	const database = { database: pool };
	const { runMigrations } = await getMigrations(database);
	await runMigrations();
	const { auth, face } = await openBetterAuth(database);
	const insert = (table, rows) =>
		pool.query(`INSERT INTO "${table}" SELECT * FROM json_populate_recordset(NULL::"${table}", $1)`, [
			JSON.stringify(rows),
		]);
	await insert("user", users);
	return {
		faces: {
			betterAuth: async () => face,
			check: async () => ({ check: (headers) => auth.api.getSession({ headers }) }),
		},
		fill: async (records) => {
			const sessions = records.map((record) => record.session);
			await insert("session", sessions);
			await pool.query('ANALYZE "session"'); // what autovacuum would do a minute later: plans made for this many rows
		},
		clear: () => pool.query('TRUNCATE "session"'),
	};
}
