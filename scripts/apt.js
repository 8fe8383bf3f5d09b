// Gets what the tests and the example need from Debian's packages, where it is missing. A service that such a package starts is
// ended, now and at the next boot: whoever asked starts servers of his own.

import { findProgram, outputOf, PROGRAMS, run } from "./programs.js";

/** A step failed for a reason that its message tells in full. */
export class SetupError extends Error {}

/**
 * Installs those of the packages whose program is not found.
 * @param {(keyof typeof PROGRAMS)[]} names of packages
 * @param {string} what needs them, for the message when that fails: "the tests"
 * @returns {string | undefined} what was installed, if anything had to be
 * @throws {SetupError} when something is missing and cannot be installed
 */
export function getByApt(names, what) {
	const missing = () => names.filter((name) => !PROGRAMS[name].find());
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
	for (const name of packages) endService(PROGRAMS[name].service);
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
