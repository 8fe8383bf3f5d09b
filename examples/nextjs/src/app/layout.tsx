import type { Metadata, Viewport } from "next";
import type { ReactNode } from "react";
import "./style.css";

export const metadata: Metadata = {
	title: { default: "Sessions in Redis", template: "%s · Sessions in Redis" },
	description: "Better Auth on several Next.js servers that share their sessions",
};

export const viewport: Viewport = { colorScheme: "light dark" };

export default function Layout({ children }: { children: ReactNode }) {
	return (
		<html lang="en">
			<body>
				<a className="skip" href="#main">
					Skip to the content
				</a>
				{children}
			</body>
		</html>
	);
}
