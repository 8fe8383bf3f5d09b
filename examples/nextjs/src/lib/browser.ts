import { parse } from "bowser";

/** What a person calls the browser of a User-Agent: "Chrome on Linux". */
export function browserOf(userAgent: string | null | undefined): string {
	if (!userAgent) return "Unknown browser";
	const { browser, os } = parse(userAgent);
	return [browser.name ?? "Unknown browser", os.name].filter(Boolean).join(" on ");
}
