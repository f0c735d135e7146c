//! The few things the configuration asks of the command table, in one place.

/// What a client must be allowed to do before it may run a command; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// Read keys.
    Read,
    /// Read and write keys.
    Write,
    /// Everything.
    Admin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(u16);

#[derive(Clone, Debug)]
pub struct CommandTable(Vec<String>);

impl CommandTable {
    pub fn new() -> CommandTable {
        CommandTable(
            ["get", "set", "setnx", "setex", "blpop", "brpop", "brpoplpush", "del", "keys"]
                .map(str::to_owned)
                .to_vec(),
        )
    }
}

pub fn add_custom(
    table: &mut CommandTable,
    command: &super::custom_command::CustomCommand,
) -> Result<(), String> {
    let name = String::from_utf8_lossy(&command.name).to_ascii_lowercase();
    if find(table, name.as_bytes()).is_some() {
        return Err(format!("custom command {name} is duplicated"));
    }
    table.0.push(name);
    Ok(())
}

pub fn find(table: &CommandTable, name: &[u8]) -> Option<CommandId> {
    table
        .0
        .iter()
        .position(|known| known.as_bytes().eq_ignore_ascii_case(name))
        .map(|at| CommandId(at as u16))
}

pub fn all(table: &CommandTable) -> Vec<CommandId> {
    (0..table.0.len()).map(|at| CommandId(at as u16)).collect()
}
