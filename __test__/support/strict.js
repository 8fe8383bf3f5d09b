// Stand-ins for servers that permit a script less than Redis does. Behind each is a real one.

import { createHash } from "node:crypto";
import { holdAllSlots } from "./cluster.js";
import { RedisProxy } from "./proxy.js";
import { RedisServer } from "./redis.js";

/** A real server behind a proxy. `url` holds from `start()` on. */
class Fronted {
	server;
	/** @type {RedisProxy} */
	proxy;

	/** @param {import("./redis.js").RedisOptions} [options] */
	constructor(options) {
		this.server = new RedisServer(options);
	}

	get url() {
		return this.proxy.url;
	}

	async start() {
		await this.server.start();
		this.proxy = new RedisProxy(this.server);
		await this.proxy.start();
		return this;
	}

	async stop() {
		this.proxy?.stop();
		await this.server.stop();
	}
}

/**
 * One endpoint for many shards that looks like a single server, as Redis Enterprise and Azure's EnterpriseCluster policy have it:
 * a cluster of one server, which refuses a script keys of several slots, behind a proxy that denies the cluster.
 */
export class ShardedEndpoint extends Fronted {
	constructor() {
		super({ config: ["cluster-enabled yes"] });
	}

	async start() {
		await super.start();
		await holdAllSlots(this.server);
		const denial = "return redis.error_reply('ERR This instance has cluster support disabled')";
		this.proxy.rewriteCommand = (words) => (is(words, "CLUSTER") ? ["EVAL", denial, 0] : words);
		this.proxy.rewrite = alone;
		return this;
	}
}

/** Of an answer to HELLO or INFO: as a single server says it. */
function alone(frame) {
	const text = frame.toString("latin1");
	if (text.startsWith("%") || text.startsWith("*")) {
		return Buffer.from(text.replace("mode\r\n$7\r\ncluster", "mode\r\n$10\r\nstandalone"), "latin1");
	}
	const head = text.match(/^([$=])\d+\r\n(?=(?:txt:)?# )/);
	if (!head) return frame;
	const body = text.slice(head[0].length, -2);
	const changed = body
		.replace("redis_mode:cluster", "redis_mode:standalone")
		.replace("cluster_enabled:1", "cluster_enabled:0");
	return Buffer.from(`${head[1]}${changed.length}\r\n${changed}\r\n`, "latin1");
}

/** A server whose scripts may touch only keys that they declare, as Dragonfly and Kvrocks have it: a guard stands before each script. */
export class StrictServer extends Fronted {
	/** Whether the guard is there. */
	isStrict = true;
	/** What the server says to a script in place of carrying it out. @type {((script: string) => string | undefined)} */
	refusal = () => undefined;

	/** How many scripts touched a key that they had not declared. @returns {Promise<number>} */
	get refusals() {
		return this.server.cli("GET", REFUSALS).then(Number);
	}

	async start() {
		await super.start();
		/** The scripts that were sent, by their digests. @type {Map<string, Buffer>} */
		const known = new Map();
		this.proxy.rewriteCommand = (words) => {
			if (!this.isStrict) return words;
			const [, script, ...rest] = words;
			if (is(words, "EVAL")) {
				const refusal = this.refusal(script.toString());
				if (refusal) return ["EVAL", "return redis.error_reply(ARGV[1])", 0, refusal];
				known.set(createHash("sha1").update(script).digest("hex"), script);
				return ["EVAL", guarded(script), ...rest];
			}
			const code = is(words, "EVALSHA") && known.get(script.toString());
			return code ? ["EVAL", guarded(code), ...rest] : words;
		};
		return this;
	}
}

function is([name], command) {
	return name.toString().toUpperCase() === command;
}

/** A counter of the guard's own. */
const REFUSALS = "refusals of the guard";

/** Every command that a script here may call has one key, its first argument; a clock has none. */
const GUARD = `
local declared, real = {}, redis
for _, key in ipairs(KEYS) do declared[key] = true end
local of_one_key = {}
for name in string.gmatch('GET SET DEL EXISTS STRLEN INCR TYPE PTTL PEXPIRE SMEMBERS ZADD ZREM ZRANGE ZRANGEBYSCORE', '%u+') do
  of_one_key[name] = true
end
local function refusal(name, key, ...)
  if name == 'TIME' then return end
  if not of_one_key[name] or (name == 'DEL' or name == 'EXISTS') and select('#', ...) > 0 then
    return 'the guard does not know the keys of ' .. name
  end
  if declared[key] then return end
  real.call('INCR', '${REFUSALS}')
  return 'script tried accessing undeclared key, key: ' .. key
end
local redis = setmetatable({
  call = function(...)
    local why = refusal(...)
    if why then error(why) end
    return real.call(...)
  end,
  pcall = function(...)
    local why = refusal(...)
    if why then return { err = 'ERR ' .. why } end
    return real.pcall(...)
  end,
}, { __index = real })
`;

function guarded(script) {
	return Buffer.concat([Buffer.from(GUARD), script]);
}
