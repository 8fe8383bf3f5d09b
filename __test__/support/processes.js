// What the system says of a process.

import { existsSync, readFileSync } from "node:fs";
import { outputOf } from "../../scripts/programs.js";

const HAS_PROC = existsSync("/proc/self/stat");

/** For `skip` of a test that counts threads, files or sockets: why it cannot, or false where it can. @type {string | false} */
export const withoutProc = !HAS_PROC && "only Linux has /proc";

/**
 * The letter of a process's state, or undefined when there is no such process: T is stopped; Z is a zombie, which its parent has yet to bury.
 * @param {number} pid
 */
export function stateOf(pid) {
	if (!HAS_PROC) return outputOf("ps", ["-o", "state=", "-p", String(pid)])?.[0];
	try {
		return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)[0]; // "pid (name) state ...": see proc_pid_stat(5)
	} catch {
		return undefined;
	}
}
