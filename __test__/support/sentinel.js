// A primary, two replicas and three sentinels that watch over them, as real as they come.

import { RedisServer } from "./redis.js";
import { until } from "./wait.js";

/** After so long without an answer a sentinel takes a server for dead, in ms. */
const DOWN_AFTER_MS = 300;

export class SentinelGroup {
	/** The data servers; which of them is the primary changes. @type {RedisServer[]} */
	servers = [];
	/** @type {RedisServer[]} */
	sentinels = [];

	/** @param {{ config?: string[], sentinelPassword?: string }} [options] lines for the data servers; the sentinels' password */
	async start({ config = [], sentinelPassword } = {}) {
		const primary = await new RedisServer({ config }).start();
		this.servers.push(primary);
		for (let n = 0; n < 2; n++) {
			const lines = [...config, `replicaof ${primary.host} ${primary.port}`];
			this.servers.push(await new RedisServer({ config: lines }).start());
		}
		const watch = [
			`sentinel monitor mymaster ${primary.host} ${primary.port} 2`,
			`sentinel down-after-milliseconds mymaster ${DOWN_AFTER_MS}`,
			"sentinel failover-timeout mymaster 1000",
		];
		for (let n = 0; n < 3; n++) {
			const sentinel = new RedisServer({ sentinel: true, config: watch, password: sentinelPassword });
			this.sentinels.push(await sentinel.start());
		}
		await until("replicas and sentinels that know each other", async () => {
			const states = await Promise.all(
				this.sentinels.map((sentinel) => sentinel.cli("SENTINEL", "MASTER", "mymaster")),
			);
			return states.every((state) => {
				const of = (name) => Number(state[state.indexOf(name) + 1]);
				return of("num-slaves") === 2 && of("num-other-sentinels") === 2;
			});
		});
		return this;
	}

	/** What a store is given. */
	get nodes() {
		return this.sentinels.map(({ host, port }) => ({ host, port }));
	}

	/** The server that most sentinels name. @returns {Promise<RedisServer>} */
	async primary() {
		const [, port] = await this.sentinels[0].cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster");
		return this.servers.find((server) => server.port === Number(port));
	}

	/** Waits until another one than `old` is the primary, for every sentinel and by itself. */
	async electedAfter(old) {
		return until(
			"an election",
			async () => {
				const named = await Promise.all(
					this.sentinels.map((sentinel) => sentinel.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")),
				);
				const primary = this.servers.find((server) => named.every(([, port]) => Number(port) === server.port));
				if (!primary || primary === old) return undefined;
				const [role] = await primary.cli("ROLE");
				return role === "master" && primary;
			},
			30_000,
		);
	}

	async stop() {
		for (const server of [...this.sentinels, ...this.servers]) await server.stop();
	}
}
