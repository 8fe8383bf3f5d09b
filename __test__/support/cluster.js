// A Redis Cluster, of three primaries with a replica each unless it is to be another, as real as it comes: made by redis-cli, its slots moved and its servers
// killed by the tests.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { findProgram } from "../../scripts/programs.js";
import { RedisServer } from "./redis.js";
import { until } from "./wait.js";

const execFileAsync = promisify(execFile);

/** After so long without an answer the others take a server for dead, in ms. */
const NODE_TIMEOUT_MS = 1000;

export class RedisCluster {
	/** The servers, primaries and replicas; which is which changes. @type {RedisServer[]} */
	servers = [];
	#options;
	#size;

	/**
	 * @param {import("./redis.js").RedisOptions} [options] of each server
	 * @param {{ primaries: number, replicas: number }} [size] replicas: of each primary
	 */
	constructor(options = {}, size = { primaries: 3, replicas: 1 }) {
		this.#options = options;
		this.#size = size;
	}

	async start() {
		const { config = [], ...options } = this.#options;
		const lines = ["cluster-enabled yes", `cluster-node-timeout ${NODE_TIMEOUT_MS}`, ...config];
		const start = () => new RedisServer({ ...options, config: lines }).start();
		const { primaries, replicas } = this.#size;
		this.servers = await Promise.all(Array.from({ length: primaries * (1 + replicas) }, start));
		const addresses = this.servers.map(address);
		await this.#cli("--cluster", "create", ...addresses, "--cluster-replicas", String(replicas), "--cluster-yes");
		await this.settles();
		return this;
	}

	/** What a store is given: any of them will do. */
	get nodes() {
		return this.servers.map(({ host, port }) => ({ host, port }));
	}

	/** Waits until the servers that run agree, all slots are served, and each primary has a replica that keeps up, if it is to have any. */
	async settles() {
		const check = async () => {
			const [any] = this.servers.filter((server) => server.pid);
			return this.#cli("--cluster", "check", address(any)).then(
				() => true,
				() => false,
			);
		};
		await until("a cluster at peace", check, 30_000);
		await until("servers that serve", async () => {
			const running = this.servers.filter((server) => server.pid);
			const infos = await Promise.all(running.map((server) => server.cli("CLUSTER", "INFO")));
			return infos.every((info) => /cluster_state:ok/.test(info));
		});
		if (this.#size.replicas === 0) return;
		await until("replicas that keep up", async () => {
			const infos = await Promise.all((await this.primaries()).map((server) => server.cli("INFO", "replication")));
			return infos.every((info) => /state=online/.test(info));
		});
	}

	/** The primaries as they say themselves. @returns {Promise<RedisServer[]>} */
	async primaries() {
		const running = this.servers.filter((server) => server.pid);
		const roles = await Promise.all(running.map((server) => server.cli("ROLE")));
		return running.filter((_, at) => roles[at][0] === "master");
	}

	/** The primary that holds a key. @returns {Promise<RedisServer>} */
	async holder(key) {
		const [any] = this.servers.filter((server) => server.pid);
		const slot = await any.cli("CLUSTER", "KEYSLOT", key);
		for (const [first, last, [, port]] of await any.cli("CLUSTER", "SLOTS")) {
			if (first <= slot && slot <= last) return this.servers.find((server) => server.port === port);
		}
		throw new Error(`nobody holds slot ${slot}`);
	}

	/** Sends a command to the server that holds its first argument. */
	async cli(name, key, ...args) {
		return (await this.holder(key)).cli(name, key, ...args);
	}

	/** A replica of a server. @returns {Promise<RedisServer>} */
	async replicaOf({ port }) {
		for (const server of this.servers) {
			const [role, , of] = server.pid ? await server.cli("ROLE") : [];
			if (role === "slave" && of === port) return server;
		}
		throw new Error(`${port} has no replica`);
	}

	/** Moves so many slots, keys and all, from one primary to another. */
	async move(slots, from, to) {
		await this.settles();
		const [fromId, toId] = await Promise.all([from, to].map((server) => server.cli("CLUSTER", "MYID")));
		const flags = ["--cluster-from", fromId, "--cluster-to", toId, "--cluster-slots", String(slots), "--cluster-yes"];
		await this.#cli("--cluster", "reshard", address(from), ...flags);
	}

	async stop() {
		for (const server of this.servers) await server.stop();
	}

	async #cli(...args) {
		const { password, certificates } = this.servers[0];
		const login = password === undefined ? [] : ["-a", password, "--no-auth-warning"];
		const tls = certificates ? ["--tls", "--cacert", certificates.ca] : [];
		await execFileAsync(findProgram("redis-cli", "valkey-cli"), [...login, ...tls, ...args]);
	}
}

/** Makes a cluster of one server, started with `cluster-enabled yes`. @param {RedisServer} server */
export async function holdAllSlots(server) {
	await server.cli("CLUSTER", "ADDSLOTS", ...Array.from({ length: 16_384 }, (_, slot) => slot));
	await until("a cluster that serves", async () => /cluster_state:ok/.test(await server.cli("CLUSTER", "INFO")));
}

function address({ host, port }) {
	return `${host}:${port}`;
}
