//! The five capability sets, read in `/proc/PID/status`.

use crate::common::*;
use serde_json::json;

const NONE: &str = "0000000000000000";

in_modes! {
    fn the_sets_are_those_of_the_configuration_and_nothing_is_inherited(mode) {
        let container = Bundle::new(mode).start();
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(container.proc().caps(set), "00000000a80425fb", "{set}");
        }
        assert_eq!(container.proc().caps("CapInh"), NONE);
        assert_eq!(container.proc().caps("CapAmb"), NONE);
    }
}

in_modes! {
    [root root_userns root_in_userns rootless_range]
    fn another_user_than_root_keeps_the_bounding_set_only(mode) {
        let container = Bundle::new(mode).user(1000, 1000).start();
        assert_eq!(container.proc().caps("CapBnd"), "00000000a80425fb");
        assert_eq!(container.proc().caps("CapEff"), NONE);
        assert_eq!(container.proc().caps("CapPrm"), NONE);
    }
}

in_modes! {
    [root root_userns rootless_range]
    fn ambient_capabilities_reach_an_ordinary_user(mode) {
        let net = ["CAP_NET_BIND_SERVICE"];
        let sets = json!({"bounding": net, "permitted": net, "effective": net, "inheritable": net, "ambient": net});
        let container = Bundle::new(mode).user(1000, 1000).put("/process/capabilities", sets).start();
        for set in ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"] {
            assert_eq!(container.proc().caps(set), "0000000000000400", "{set}");
        }
    }
}

in_modes! {
    fn the_five_sets_are_independent(mode) {
        let sets = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
            "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_CHOWN"],
            "inheritable": ["CAP_KILL"],
        });
        // A root process regains what the bounding set allows at execve, so an ordinary user shows the sets as they were.
        let mut bundle = Bundle::new(mode).put("/process/capabilities", sets);
        if mode.many_ids() {
            bundle = bundle.user(1000, 1000);
        }
        let container = bundle.start();
        assert_eq!(container.proc().caps("CapBnd"), "00000000000000a1");
        assert_eq!(container.proc().caps("CapInh"), "0000000000000020");
    }
}

in_modes! {
    fn empty_and_absent_sets_mean_no_capability(mode) {
        for value in [json!({}), json!(null)] {
            let container = Bundle::new(mode).with(|config| {
                let process = config["process"].as_object_mut().unwrap();
                if value.is_null() {
                    process.remove("capabilities");
                } else {
                    process.insert("capabilities".into(), value.clone());
                }
            });
            if value.is_null() && only_ours("runc 1.1 keeps what it has") {
                continue;
            }
            let container = container.start();
            for set in ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"] {
                assert_eq!(container.proc().caps(set), NONE, "{set} with {value}");
            }
        }
    }
}

in_modes! {
    fn unknown_names_are_a_warning_and_nothing_on_standard_error(mode) {
        if subject().0 == Subject::Runc {
            return; // warns there
        }
        let caps = caps(&["CAP_CHOWN", "CAP_TIME_TRAVEL"]);
        let bundle = Bundle::new(mode).put("/process/capabilities", caps);
        let output = bundle.try_create(&[]).ok();
        assert_eq!(output.stderr, "");
        bundle.call(&["start", bundle.id()]).ok();
    }
}

in_modes! {
    [root_userns rootless_range rootless_one]
    fn every_capability_is_there_to_be_had_in_an_own_user_namespace(mode) {
        let all: Vec<String> = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
            .map(|text| (0..=text.trim().parse::<usize>().unwrap()).map(|n| CAPABILITIES[n].to_owned()).collect())
            .unwrap();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let container = Bundle::new(mode).put("/process/capabilities", caps(&all)).start();
        assert_eq!(container.proc().caps("CapEff"), format!("{:016x}", (1_u64 << all.len()) - 1));
    }
}
