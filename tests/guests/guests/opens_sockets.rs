//! Tries to open sockets and to resolve a name, past `wasi:http`, and answers with what each said.

wit_bindgen::generate!({
    path: ["../../sdk/wit/since-0.1.0", "wit/sockets"],
    inline: "
        package test:guest;

        world guest {
            include llmring:plugin/imports@0.1.0;
            import wasi:sockets/instance-network@0.2.12;
            import wasi:sockets/ip-name-lookup@0.2.12;
            import wasi:sockets/tcp-create-socket@0.2.12;
            import wasi:sockets/udp-create-socket@0.2.12;
            export llmring:plugin/tools@0.1.0;
        }
    ",
    world: "test:guest/guest",
    generate_all,
});

use exports::llmring::plugin::tools::{Guest, Tool, ToolError, ToolResult};
use llmring::plugin::{
    call::Call,
    types::{Content, ContentBlock},
};
use wasi::sockets::{
    instance_network::instance_network, ip_name_lookup::resolve_addresses, network::IpAddressFamily,
    tcp_create_socket::create_tcp_socket, udp_create_socket::create_udp_socket,
};

struct Plugin;

impl Guest for Plugin {
    fn list_tools() -> Result<Vec<Tool>, ToolError> {
        Ok(vec![])
    }

    fn call_tool(_: String, _: String, _: &Call) -> Result<ToolResult, ToolError> {
        let text = format!(
            "tcp: {:?}\nudp: {:?}\nname: {:?}",
            create_tcp_socket(IpAddressFamily::Ipv4)
                .map(|_| "opened")
                .map_err(|error| error.name()),
            create_udp_socket(IpAddressFamily::Ipv6)
                .map(|_| "opened")
                .map_err(|error| error.name()),
            resolve_addresses(&instance_network(), "localhost")
                .map(|_| "resolved")
                .map_err(|error| error.name()),
        );
        let content = vec![ContentBlock {
            content: Content::Text(text),
            annotations: None,
            meta: None,
        }];
        Ok(ToolResult {
            content,
            structured_content: None,
            is_error: false,
            meta: None,
        })
    }
}

export!(Plugin);
