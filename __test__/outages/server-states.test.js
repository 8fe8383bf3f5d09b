// States in which a server refuses commands: a long script, too few replicas, a disk that fails, a quota that is used up, too many clients.
// Each is UNAVAILABLE with its cause; those that pass are waited for; and `onUnavailable: "database"` covers all of them.

import assert from "node:assert/strict";
import { once } from "node:events";
import { rmSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { open } from "../support/engines.js";
import { assertRejects } from "../support/errors.js";
import { startProxy } from "../support/proxy.js";
import { fresh, record, session, signIn } from "../support/records.js";
import { startRedis } from "../support/redis.js";
import { fillDisk, isCode, useUpQuota } from "../support/states.js";
import { until } from "../support/wait.js";

const TOMBSTONE = 0xff;

/** @param {import("node:test").TestContext} t */
async function start(t, config) {
	const server = await startRedis({ config });
	t.after(() => server.stop());
	return server;
}

/** A long script begins to run; it ends with `endScript`, or with the server. */
async function beginScript(server) {
	server.cli("EVAL", "while true do end", 0).catch(() => {});
	await until("a busy server", () => server.cli("PING").then(() => false, isCode("BUSY")));
}

const endScript = (server) => server.cli("SCRIPT", "KILL");

const setReplicas = (server, count) => server.cli("CONFIG", "SET", "min-replicas-to-write", count);

/**
 * By its name: the server's configuration, how the state begins and how it ends, and what an error says of it.
 * @type {Record<string, { config?: string[], says: RegExp, begin: Function, end: Function }>}
 */
const states = {
	BUSY: {
		config: ["busy-reply-threshold 50"],
		says: /is busy with a long script or function \(BUSY\): .* SCRIPT KILL/,
		begin: ({ server }) => beginScript(server),
		end: ({ server }) => endScript(server),
	},
	NOREPLICAS: {
		says: /takes no writes \(NOREPLICAS\): .* min-replicas-to-write/,
		begin: ({ server }) => setReplicas(server, 1),
		end: ({ server }) => setReplicas(server, 0),
	},
	MISCONF: {
		config: ["save 3600 1000000"],
		says: /takes no writes \(MISCONF\): it cannot write to its disk/,
		begin: ({ server }) => fillDisk(server),
		end: async ({ server }) => {
			rmSync(join(server.dir, "dump.rdb"), { recursive: true });
			await server.cli("BGSAVE");
		},
	},
	"a quota": {
		says: /a quota of the service is used up: wait .* or choose a larger plan/,
		begin: ({ proxy }) => useUpQuota(proxy),
		end: ({ proxy }) => useUpQuota(proxy, false),
	},
	"max number of clients": {
		says: /has as many clients as it allows: raise maxclients/,
		begin: async (ground) => {
			const operator = net.connect(ground.server.port, "127.0.0.1");
			ground.t.after(() => operator.destroy());
			ground.ask = async (command) => {
				operator.write(`${command}\r\n`);
				await once(operator, "data");
			};
			await ground.ask("CONFIG SET maxclients 1");
			await ground.ask("CLIENT KILL TYPE normal SKIPME yes");
		},
		end: (ground) => ground.ask("CONFIG SET maxclients 100"),
	},
};

describe("a state of the server", { concurrency: 2 }, () => {
	for (const [name, { config = [], says, begin, end }] of Object.entries(states)) {
		test(`${name} is UNAVAILABLE with its cause, and the database serves the sessions meanwhile`, async (t) => {
			const server = await start(t, config);
			const proxy = await startProxy(t, server);
			const ground = { t, server, proxy };
			const options = { url: proxy.url, failFastMs: 50, logger: false };
			const { store } = open(t, options);
			const { storage } = open(t, { ...options, onUnavailable: "database", storeSessionInDatabase: true });
			const [old, made, kept] = [session(), session(), session()];
			for (const one of [old, kept]) await signIn(storage, one);
			await storage.get(kept.token);
			await store.getSession(old.token);

			await begin(ground);
			await assertRejects(() => store.createSession(session()), "UNAVAILABLE", says);
			// What is written is read from the database, also where only writes are refused.
			await signIn(storage, { ...kept, note: "changed" });
			assert.equal(await storage.get(kept.token), null);
			const list = JSON.parse(await storage.get(`active-sessions-${kept.userId}`));
			assert.ok(!list.some(({ token }) => token === kept.token), "the list stands for every session");
			await signIn(storage, made);
			await storage.delete(old.token);
			assert.equal(await storage.get(old.token), null);
			const { ends, puts } = storage.metrics().journal;
			assert.deepEqual({ ends, puts }, { ends: 1, puts: 2 });

			await end(ground);
			await until("the end of the journal", () => {
				const { ends, puts } = storage.metrics().journal;
				return ends + puts === 0;
			});
			assert.equal(await storage.get(old.token), null);
			assert.equal((await server.cliBuffer("GET", `session:${old.token}`))[0], TOMBSTONE);
			assert.deepEqual(JSON.parse(await storage.get(made.token)), JSON.parse(record(made)));
			assert.equal(JSON.parse(await storage.get(kept.token)).session.note, "changed");
		});
	}
});

/** A server that is a cluster by itself. */
async function startCluster(t, config) {
	const server = await start(t, ["cluster-enabled yes", ...config]);
	await server.cli("CLUSTER", "ADDSLOTSRANGE", 0, 16383);
	await until("a cluster", async () => /cluster_state:ok/.test(await server.cli("CLUSTER", "INFO")));
	return server;
}

for (const [form, launch, place] of [
	["one server", start, ({ url }) => ({ url })],
	["a cluster", startCluster, ({ host, port }) => ({ cluster: [{ host, port }] })],
]) {
	describe(`on ${form}, a temporarily refused call is carried out once when the server accepts it`, {
		concurrency: 2,
	}, () => {
		for (const name of ["BUSY", "NOREPLICAS"]) {
			test(name, async (t) => {
				const { config = [], says, begin, end } = states[name];
				const server = await launch(t, config);
				const ground = { t, server };
				const [patient, hasty] = [5000, 1].map((failFastMs) =>
					open(t, { ...place(server), failFastMs, commandTimeout: 10_000, logger: false }),
				);
				const { storage, store } = patient;
				const [live, ended, made] = [session(), session(), session()];
				const [counter, key, user] = [fresh("counter"), fresh("key"), fresh("user")];
				for (const one of [live, ended]) await store.createSession({ ...one, userId: user });
				await hasty.storage.ping();

				await begin(ground);
				const calls = [
					...[1, 2, 3].map(() => storage.increment(counter, 60)),
					storage.set(key, "value", 60),
					store.createSession(made),
					store.updateSession(live.token, { note: "changed" }),
					store.deleteSession(ended.token),
					storage.ping(),
				];
				await assertRejects(() => hasty.storage.increment(fresh("other"), 60), "UNAVAILABLE", says);
				await end(ground);
				const counts = await Promise.all(calls);

				assert.deepEqual(counts.slice(0, 3).sort(), [1, 2, 3]);
				assert.equal(await storage.increment(counter, 60), 4);
				assert.equal(await storage.get(key), "value");
				assert.ok(await store.getSession(made.token));
				const rest = await store.getUserSessions(user);
				assert.deepEqual(
					rest.map(({ token, note }) => [token, note]),
					[[live.token, "changed"]],
				);
				const errors = await server.cli("INFO", "errorstats");
				const refused = Number(new RegExp(`errorstat_${name}:count=(\\d+)`).exec(errors)[1]);
				assert.ok(refused > 4, `${refused} refusals`);
			});
		}
	});
}
