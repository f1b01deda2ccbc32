//! Writes the JSON Schemas of the policy and of the report into the folder it is given.

use std::path::PathBuf;
use std::{env, fs};

use schemars::{Schema, schema_for};
use tidegate_core::Report;
use tidegate_core::policy::raw::RawPolicy;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(env::args_os().nth(1).ok_or("write: schema FOLDER")?);
    fs::create_dir_all(&folder)?;
    let schemas: [(&str, &str, Schema); 2] = [
        (
            "tidegate.schema.json",
            "Tidegate policy",
            schema_for!(RawPolicy),
        ),
        ("report.schema.json", "Tidegate report", schema_for!(Report)),
    ];
    for (file, title, mut schema) in schemas {
        schema.insert("title".to_owned(), title.into());
        fs::write(
            folder.join(file),
            serde_json::to_string_pretty(&schema)? + "\n",
        )?;
    }
    Ok(())
}
