/** The certificates of the file that NODE_EXTRA_CA_CERTS names: trusted as node:tls trusts them. */

import { readFileSync } from "node:fs";
import * as native from "#native";

/** Read once: like Node.js, this package ignores a later change of the variable. */
const path = process.env.NODE_EXTRA_CA_CERTS;
let isRead = false;

/**
 * Trusts them beside the public authorities, once. A file that is missing or malformed is no error.
 *
 * @param warn Called with one line about the problem with the file.
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
