// Host names with addresses of the test's choice: a program in a mount namespace of its own, with another /etc/hosts.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { root } from "../../scripts/programs.js";

/**
 * Runs a Node.js program for which a name has these addresses.
 * @param {string} folder where the file of names may lie
 * @param {string} name
 * @param {string[]} addresses
 * @param {string[]} args of node
 * @returns {Promise<{ code: number, told: string }>} `told`: stdout and stderr
 */
export async function runWithHosts(folder, name, addresses, args) {
	const hosts = join(folder, "hosts");
	writeFileSync(hosts, addresses.map((address) => `${address} ${name}\n`).join(""));
	const script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"';
	const child = spawn("unshare", ["-rm", "sh", "-c", script, "sh", hosts, process.execPath, ...args], { cwd: root });
	const [[code], out, err] = await Promise.all([once(child, "close"), text(child.stdout), text(child.stderr)]);
	return { code, told: out + err };
}

/** Whether this machine permits it. @param {string} folder */
export async function canHaveHosts(folder) {
	const tried = process.platform === "linux" && runWithHosts(folder, "any.test", ["127.0.0.1"], ["-e", ""]);
	return (await Promise.resolve(tried).catch(() => undefined))?.code === 0;
}
