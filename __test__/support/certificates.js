// Certificates for a test server: an authority of its own, and one certificate that serves both server and client.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Makes them with the openssl program.
 * @param {string} folder where the files go
 * @param {string} [names] whom the certificate is for, as OpenSSL writes a subjectAltName
 * @param {boolean} [expired] whether its time is over already
 * @returns {{ ca: string, cert: string, key: string }} the paths of three PEM files
 */
export function makeCertificates(folder, names = "DNS:localhost,IP:127.0.0.1", expired = false) {
	const at = (file) => join(folder, file);
	const openssl = (...args) => execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
	const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

	// A configuration of our own: what the system's openssl.cnf adds differs from one distribution to the next.
	writeFileSync(
		at("openssl.cnf"),
		`[req]
distinguished_name = subject
[subject]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[server]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = ${names}
`,
	);
	const create = (key, ...args) => openssl("req", ...newKey, "-config", "openssl.cnf", "-keyout", key, ...args);
	const days = ["-days", "2"];
	create("ca.key", "-x509", "-extensions", "authority", "-subj", "/CN=Test authority", ...days, "-out", "ca.pem");
	create("key.pem", "-new", "-subj", "/CN=Test server", "-out", "cert.csr");
	const authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
	const extensions = ["-extfile", "openssl.cnf", "-extensions", "server"];
	const life = expired ? ["-days", "-1"] : days;
	openssl("x509", "-req", "-in", "cert.csr", ...authority, ...extensions, ...life, "-out", "cert.pem");
	return { ca: at("ca.pem"), cert: at("cert.pem"), key: at("key.pem") };
}
