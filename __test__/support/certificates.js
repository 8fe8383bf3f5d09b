// Certificates for a test server: an authority of its own, and one certificate that serves both server and client.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const DAY_MS = 24 * 3600 * 1000;

/** When a certificate is valid, in days from now. */
const LIVES = { now: [-1, 2], expired: [-2, -1], later: [1, 2] };

/**
 * Makes them with the openssl program.
 * @param {string} folder where the files go
 * @param {string} [names] whom the certificate is for, as OpenSSL writes a subjectAltName; empty: without one
 * @param {keyof typeof LIVES} [life] when it is valid
 * @param {boolean} [isSelfSigned] no authority: one certificate that may sign others (CA:TRUE), as `openssl req -x509` makes it; `ca` is that one
 * @returns {{ ca: string, cert: string, key: string }} the paths of three PEM files
 */
export function makeCertificates(folder, names = "DNS:localhost,IP:127.0.0.1", life = "now", isSelfSigned = false) {
	const at = (file) => join(folder, file);
	const openssl = (...args) => execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
	const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

	const alternative = names ? `subjectAltName = ${names}` : "";
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
${alternative}
[selfsigned]
basicConstraints = critical,CA:TRUE
${alternative}
[ca]
default_ca = signing
[signing]
database = ${at("issued.txt")}
new_certs_dir = ${folder}
certificate = ${at("ca.pem")}
private_key = ${at("ca.key")}
rand_serial = yes
default_md = sha256
policy = anybody
[anybody]
commonName = supplied
`,
	);
	writeFileSync(at("issued.txt"), "");
	const create = (key, ...args) => openssl("req", ...newKey, "-config", "openssl.cnf", "-keyout", key, ...args);
	create("ca.key", "-x509", "-extensions", "authority", "-subj", "/CN=Test authority", "-days", "2", "-out", "ca.pem");
	create("key.pem", "-new", "-subj", "/CN=Test server", "-out", "cert.csr");
	const [from, to] = LIVES[life].map((days) => time(Date.now() + days * DAY_MS));
	const dates = ["-startdate", from, "-enddate", to];
	const files = ["-in", "cert.csr", "-out", "cert.pem"];
	const by = isSelfSigned
		? ["-selfsign", "-keyfile", "key.pem", "-extensions", "selfsigned"]
		: ["-extensions", "server"];
	openssl("ca", "-batch", "-notext", "-config", "openssl.cnf", ...by, ...dates, ...files);
	if (isSelfSigned) return { ca: at("cert.pem"), cert: at("cert.pem"), key: at("key.pem") };
	return { ca: at("ca.pem"), cert: at("cert.pem"), key: at("key.pem") };
}

/** As OpenSSL takes it: YYYYMMDDHHMMSSZ. */
function time(ms) {
	return new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");
}
