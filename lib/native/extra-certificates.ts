/** The certificates that NODE_EXTRA_CA_CERTS names: they count as they do for node:tls. */

import { readFileSync } from "node:fs";
import * as native from "#native";

/** A later change of the variable does not count, as in Node.js. */
const path = process.env.NODE_EXTRA_CA_CERTS;
let isRead = false;

/**
 * Trusts them beside the public authorities, once. A file that is missing or malformed is no error.
 *
 * @param warn Is told, in one line, what is wrong with the file.
 */
export function trustExtraCertificates(warn: (line: string) => void): void {
	if (isRead || !path) return;
	isRead = true;
	let pem: string;
	try {
		pem = readFileSync(path, "utf8");
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		warn(`NODE_EXTRA_CA_CERTS: the file cannot be read (${code}); it is ignored`);
		return;
	}
	if (native.trustCertificates(pem)) return;
	warn(
		"NODE_EXTRA_CA_CERTS: the file holds something that is no certificate (PEM, BEGIN CERTIFICATE); that is ignored",
	);
}
