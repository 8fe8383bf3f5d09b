// Gets what the tests and the example need from Debian's packages, where it is missing. A service that such a package starts is
// ended, now and at the next boot: whoever asked starts servers of his own.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { findProgram, findRedisServer, outputOf, run } from "./programs.js";

/** A step failed for a reason that its message tells in full. */
export class SetupError extends Error {}

const POSTGRES = "/usr/lib/postgresql";

/** The folder of the newest `postgres`, `initdb` and so on, or undefined. Debian keeps them off the PATH. */
export function findPostgres() {
	const versions = existsSync(POSTGRES) ? readdirSync(POSTGRES) : [];
	return versions
		.sort((a, b) => Number(b) - Number(a))
		.map((version) => join(POSTGRES, version, "bin"))
		.find((bin) => existsSync(join(bin, "postgres")) && existsSync(join(bin, "initdb")));
}

/** The nginx of the PATH, or where Debian has it: an ordinary user's PATH lacks that folder. */
export function findNginx() {
	return findProgram("nginx") ?? ["/usr/sbin/nginx"].find(existsSync);
}

/** Chromium or Chrome: TEST_CHROMIUM, or what the PATH has. */
export function findChromium() {
	return process.env.TEST_CHROMIUM || findProgram("chromium", "google-chrome");
}

/** How to find what a package brings, and the service that it starts. @type {Record<string, { find: () => string | undefined, service?: string }>} */
const PACKAGES = {
	"redis-server": { find: findRedisServer, service: "redis-server" },
	openssl: { find: () => findProgram("openssl") },
	"g++": { find: () => findProgram("c++", "g++", "clang++") },
	postgresql: { find: findPostgres, service: "postgresql" },
	nginx: { find: findNginx, service: "nginx" },
	chromium: { find: findChromium },
};

/**
 * Installs those of the packages whose program is not found.
 * @param {string[]} names Debian's, of those that are known here
 * @param {string} what needs them, for the message when that fails: "the tests"
 * @returns {string | undefined} what was installed, if anything had to be
 * @throws {SetupError} when something is missing and cannot be installed
 */
export function getByApt(names, what) {
	const missing = () => names.filter((name) => !PACKAGES[name].find());
	const packages = missing();
	if (packages.length === 0) return undefined;

	const wanted = `missing for ${what}: ${packages.join(" and ")}`;
	if (!findProgram("apt-get")) {
		const valkey = packages.includes("redis-server") ? ". Valkey does as well: https://valkey.io" : "";
		throw new SetupError(`${wanted}, and there is no apt-get to install from${valkey}`);
	}
	if (process.getuid() !== 0 && outputOf("sudo", ["-n", "true"]) === undefined) {
		throw new SetupError(`${wanted}, and apt-get needs root: \`sudo apt-get install ${packages.join(" ")}\``);
	}
	asRoot("apt-get", "update"); // What it cannot refresh may be known from an earlier update: the install decides.
	asRoot("apt-get", "install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", ...packages);
	for (const name of packages) endService(PACKAGES[name].service);
	if (missing().length > 0) throw new SetupError(`${wanted}, and apt-get could not install that (its reason is above)`);
	return `installed ${packages.join(", ")}`;
}

/** Only ever called for what this install brought: a service that was there before is somebody's. */
function endService(service) {
	if (service === undefined) return;
	asRoot("service", service, "stop");
	asRoot("update-rc.d", service, "disable");
}

function asRoot(program, ...args) {
	const command = ["env", "DEBIAN_FRONTEND=noninteractive", program, ...args];
	return process.getuid() === 0 ? run(command[0], command.slice(1)) : run("sudo", ["-n", ...command]);
}
