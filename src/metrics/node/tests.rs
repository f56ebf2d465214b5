use super::*;

const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw,size=12334492k
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 254:16 / /data\\040disk rw,relatime - xfs /dev/vdb rw
41 27 254:0 /var/lib/x /mnt/bind rw,relatime - ext4 /dev/vda rw,discard
42 27 0:50 / /var/lib/riklet/pods/a/rootfs rw - overlay overlay rw,lowerdir=/l,upperdir=/u
43 27 7:0 / /snap/core ro - squashfs /dev/loop0 ro
44 27 0:51 /@home /home rw - btrfs /dev/nvme0n1p3 rw,subvol=/@home
45 27 0:52 /@log /var/log rw - btrfs /dev/nvme0n1p3 rw,subvol=/@log
46 27 0:53 / /net rw - nfs4 server:/export rw
47 27 0:54 / /fuse rw - fuseblk /dev/sdz1 rw
nonsense
";

#[test]
fn each_real_disk_is_there_once_and_nothing_else_is() {
    let disks = real_disks(MOUNTS);
    let names: Vec<_> = disks.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["/dev/nvme0n1p3", "/dev/vda", "/dev/vdb"]);
    assert_eq!(disks[1].mount, PathBuf::from("/"));
    assert_eq!(disks[2].mount, PathBuf::from("/data disk"));
}

#[test]
fn the_shape_is_the_one_that_the_scheduler_reads() {
    let sample = NodeSample {
        cpu: NodeCpu {
            total: 8,
            free: 17.445_435,
        },
        memory: NodeMemory {
            total: 34_054_195_200,
            free: 29_200_210_944,
        },
        disks: vec![NodeDisk {
            disk_name: "/dev/nvme0n1p3".to_owned(),
            total: 496_896_393_216,
            free: 247_193_731_072,
        }],
    };
    assert_eq!(
        sample.json(),
        r#"{"cpu":{"total":8,"free":17.445435},"memory":{"total":34054195200,"free":29200210944},"disks":[{"disk_name":"/dev/nvme0n1p3","total":496896393216,"free":247193731072}]}"#
    );
}

#[test]
fn the_first_look_is_no_sample_and_the_second_is_plausible() {
    let mut sampler = NodeSampler::new().unwrap();
    assert_eq!(sampler.sample().unwrap(), None);
    let began = Instant::now();
    let sample = loop {
        assert!(began.elapsed() < Duration::from_secs(5));
        match sampler.sample().unwrap() {
            Some(sample) => break sample,
            None => std::thread::yield_now(),
        }
    };
    assert!(began.elapsed() >= NodeSampler::shortest_window() - Duration::from_millis(5));
    assert!(sample.cpu.total >= 1);
    assert!((0.0..=100.0).contains(&sample.cpu.free), "{sample:?}");
    // This very loop keeps a processor busy.
    assert!(sample.cpu.free < 100.0, "{sample:?}");
    assert!(sample.memory.free > 0 && sample.memory.free <= sample.memory.total);
    for disk in &sample.disks {
        assert!(disk.total > 0 && disk.free <= disk.total, "{disk:?}");
    }
    // And the next is none again.
    assert_eq!(sampler.sample().unwrap(), None);
}
