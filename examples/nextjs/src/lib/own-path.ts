/** Where to go after a sign-in: a path of this site, whatever the address bar asks for. */
export function ownPath(next: string | string[] | undefined): string {
	return typeof next === "string" && /^\/(?![/\\])/.test(next) ? next : "/dashboard";
}
